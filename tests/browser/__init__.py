"""The page in a real Chromium, against a real Comet and a real Redis."""
