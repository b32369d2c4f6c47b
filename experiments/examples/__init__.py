"""Programs that fit on a page. Run them with `ciranda run -n 4 -- python experiments/examples/NAME.py`."""
