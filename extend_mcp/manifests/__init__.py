"""What clients and registries read about this server: all of it rendered from one description, none of it by hand."""
