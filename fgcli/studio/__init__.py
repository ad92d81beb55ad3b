"""fg studio: a page of the browser to play with what was trained. One file per tab; `models` loads, `page` joins.

Nothing is sent anywhere: gradio's own report of each start to its makers is turned off before it is imported.
"""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
