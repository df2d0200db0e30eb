"""OpenAPI 3.1 documents of the routes that the transcoder serves. `document.document` is the way in."""
