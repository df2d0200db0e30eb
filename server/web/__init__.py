"""HTTP in front of everything else: the server and its defences, the ASGI root, the metrics page.

Knows no gRPC, no database and no route of the API: what it serves and what it reports is handed in by `server/app.py`.
"""
