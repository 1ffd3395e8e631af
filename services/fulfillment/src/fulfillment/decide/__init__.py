"""When goods leave the house. Pure: the facts of an order and its shipments in, what must become true out."""

from fulfillment.decide.decision import Decision
from fulfillment.decide.facts import Fact, Held, Paid, StockCommitted, Unheld, fold
from fulfillment.decide.lines import merged
from fulfillment.decide.movement import ARROWS, Deliver, Movement, Return, Ship, move
from fulfillment.decide.parcel import blocked, settle, shipment_id

__all__ = [
    "ARROWS",
    "Decision",
    "Deliver",
    "Fact",
    "Held",
    "Movement",
    "Paid",
    "Return",
    "Ship",
    "StockCommitted",
    "Unheld",
    "blocked",
    "fold",
    "merged",
    "move",
    "settle",
    "shipment_id",
]
