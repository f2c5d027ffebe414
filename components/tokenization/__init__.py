"""Rows → token ids, loss mask and supervision ledger."""
