"""The review desk in the browser: pages and the HTTP API under ``/api/desk``. Who may do what: ``desk.access``."""
