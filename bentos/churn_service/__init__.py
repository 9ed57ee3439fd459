"""The BentoML service that answers with the champion, and how it is built and started."""
