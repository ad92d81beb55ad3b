"""Pictures, plots and the HTML page."""
