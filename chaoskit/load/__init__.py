"""Send traffic: the driver in the harness, Locust in a process of its own, and the wire between them."""
