"""A status page of static files: an overview, a page for each server, badges, JSON and a feed."""
