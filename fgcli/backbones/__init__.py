"""Frozen feature networks; their weights come from fgcli.assets."""
