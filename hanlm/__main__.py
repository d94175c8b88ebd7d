"""``python -m hanlm``, the form that torchrun and ``hanlm run`` start."""

from hanlm.cli import main
from hanlm.parent import end_with_parent

if __name__ == "__main__":
    end_with_parent()
    main()
