"""Ledger + tables -> numbers, plots, HTML."""
