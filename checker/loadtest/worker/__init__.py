"""The worker process that makes load: patched by gevent, and driven by the callbacks of its event loop."""
