"""The portal's pages, a module for each group of them; each has `routes(portal)`."""
