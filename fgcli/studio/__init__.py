"""fg studio: a page of the browser to play with what was trained. One file per tab; `models` loads, `page` joins."""
