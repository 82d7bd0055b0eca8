"""What people have (an OpenAPI document, a browser's HAR file, a curl command) as requests of a load. Pure."""

from chaoskit.load.importers.curl import from_curl
from chaoskit.load.importers.har import from_har
from chaoskit.load.importers.openapi import from_openapi

__all__ = ["from_curl", "from_har", "from_openapi"]
