"""The process that makes load: patched, and driven by the callbacks of its loop."""
