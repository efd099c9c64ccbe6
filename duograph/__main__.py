"""`python -m duograph`: the command line."""

from duograph.cli import main

if __name__ == "__main__":
    main()
