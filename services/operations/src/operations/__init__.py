"""Dead letters, replay, order timeline, audit, payctl."""
