"""`python -m operations.payctl`."""

from operations.payctl import main

if __name__ == "__main__":
    main()
