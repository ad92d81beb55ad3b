"""Our numbers beside a paper's: its table and claims as a file, the runs, the verdicts, the page."""
