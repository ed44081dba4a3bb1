"""`python -m blindai` is the command line."""

from blindai.cli.main import main

raise SystemExit(main())
