"""``python -m kelm`` is the command ``kelm``."""

from kelm.cli import main

if __name__ == "__main__":
    main()
