"""The models of the server: whose they are, who may do what with them, and where they lie."""
