"""`python -m llamao1_cli`: the command line where no script is installed, as under a launcher."""

from llamao1_cli.cli.main import main

main()
