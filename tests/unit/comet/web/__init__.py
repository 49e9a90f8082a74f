"""The page's pure modules, in Node."""
