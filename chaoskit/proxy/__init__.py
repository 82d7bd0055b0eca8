"""What stands on every edge: our embedded Toxiproxy with its tap, and the client of any other."""
