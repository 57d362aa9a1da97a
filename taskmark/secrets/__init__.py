"""Secrets: where named ones come from, and what keeps any of them out of everything that is shown or kept."""
