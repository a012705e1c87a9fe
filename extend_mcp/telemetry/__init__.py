"""What an operator sees of the server from outside: metrics, spans and logs, none with a secret in it."""
