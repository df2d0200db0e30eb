"""REST in front of any gRPC server that has reflection: the transcoder over a channel, in a process of its own.

What the upstream serves is learned from it and learned anew when it comes back. Nothing here needs a database or knows
the services of this product.
"""
