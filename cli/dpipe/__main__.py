"""`python -m dpipe`."""

from dpipe.app import main

main()
