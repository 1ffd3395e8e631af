"""Real PostgreSQL and RabbitMQ wherever we are, and the platform's own processes on top of them."""

from sandbox.services.resolver import Servers, ServersUnavailable, start_servers

__all__ = ["Servers", "ServersUnavailable", "start_servers"]
