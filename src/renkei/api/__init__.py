"""The HTTP faces of a site: the renkei protocol, and the DOE IRI Facility API v2 and v1."""
