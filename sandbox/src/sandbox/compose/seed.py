"""`python -m sandbox.compose.seed`: put the shop's articles on sale. Repeating it restores prices and totals."""

import asyncio

from sandbox.compose.settings import Shelf
from sandbox.services.keys import mint
from sandbox.shop.catalogue import ARTICLES, seed

if __name__ == "__main__":
    shelf = Shelf()
    asyncio.run(
        seed(
            checkout_url=shelf.checkout_url,
            inventory_url=shelf.inventory_url,
            token=lambda: mint(shelf.key_file, "seed", "admin", seconds=300),
        )
    )
    print(f"{len(ARTICLES)} articles on sale")
