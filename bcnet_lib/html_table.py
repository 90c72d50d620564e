"""One look of tables as HTML: of claims and verdicts, on the page and in a notebook."""

from collections.abc import Iterable
from html import escape

__all__ = ["html_table"]

# Colours follow the theme where the page sets --pst-* (the book) or --jp-* (Jupyter).
STYLE = """<style>
.bcnet-scroll{overflow-x:auto;max-width:100%}
table.bcnet{border-collapse:collapse;font-size:.92em;margin:.6em 0;width:auto;
color:var(--pst-color-text-base,var(--jp-content-font-color1,#222))}
table.bcnet caption{caption-side:top;text-align:left;font-weight:600;padding:.3em 0;color:inherit}
table.bcnet th,table.bcnet td{text-align:left;vertical-align:top;padding:.35em .7em;
border:0;border-bottom:1px solid var(--pst-color-border,var(--jp-border-color2,#ccc));
background:none;white-space:normal}
table.bcnet thead th{border-bottom-width:2px}
table.bcnet tbody th{font-weight:400}
table.bcnet .num{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
table.bcnet .verdict{white-space:nowrap;font-weight:600}
table.bcnet p{margin:0 0 .3em}
table.bcnet td code{overflow-wrap:anywhere;white-space:normal}
table.bcnet th code{white-space:normal}
.bd-content div.cell_output .text_html:has(table.bcnet)
{background:none!important;color:inherit!important;padding:0}
table.bcnet .note{opacity:.85;font-size:.92em}
table.bcnet tr{scroll-margin-top:5rem}
table.bcnet tr:target{outline:2px solid #0072B2}
html[data-theme=dark] table.bcnet .verdict,[data-jp-theme-light=false] table.bcnet .verdict
{filter:brightness(2.1)}
</style>"""


def html_table(caption: str, head: list[str], rows: Iterable[str]) -> str:
    """A table with a caption that scrolls sideways where it is too wide.

    Args:
        caption: text. head: names of columns, text. rows: ``<tr>`` elements, HTML.
    """
    cells = "".join(f'<th scope="col">{escape(h)}</th>' for h in head)
    return (
        f'{STYLE}\n<div class="bcnet-scroll" tabindex="0" role="region" '
        f'aria-label="{escape(caption)}">\n<table class="bcnet"><caption>{escape(caption)}'
        f"</caption>\n<thead><tr>{cells}</tr></thead>\n<tbody>\n"
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )
