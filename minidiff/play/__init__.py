"""A page to play with, in the browser: `minidiff play`.

`images` and `plane` compute what is seen, as arrays; `shown` makes HTML of it. These know of no
page, and are quick to import. `page` lays it out, by Gradio.
"""
