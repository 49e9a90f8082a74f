"""The page /docs: Swagger UI from the package swagger-ui-bundle, every file of it served from here.

The bundle's Swagger UI reads OpenAPI up to 3.0, so the page shows it our document under that number (see openapi.py).
"""

import mimetypes
from pathlib import Path

from swagger_ui_bundle import swagger_ui_path

ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
START = "start.js"
# The browser itself refuses whatever would come from elsewhere.
POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>ChatRoom Logic</title>
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

_START = """fetch("openapi.json").then((answer) => answer.json()).then((spec) => {
  spec.openapi = "3.0.3";
  SwaggerUIBundle({ spec, dom_id: "#page", deepLinking: true, validatorUrl: null });
});
"""


def asset(name: str) -> tuple[bytes, str] | None:
    """Return a file of the page and its media type, or None if there is no such file."""
    if name == START:
        return _START.encode(), "text/javascript"
    if name not in ASSETS:
        return None
    return Path(swagger_ui_path, name).read_bytes(), mimetypes.guess_type(name)[0] or "application/octet-stream"
