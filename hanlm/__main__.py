"""``python -m hanlm``, the form that torchrun and ``hanlm run`` start."""

from hanlm.cli import main

if __name__ == "__main__":
    main()
