"""Renders a document with Markdown and several of its extensions."""

import hashlib

import markdown

DOCUMENT = """
# A title {#top}

Some *emphasis*, **strong** text, `code` and a [link](https://example.org "title"). An ![image](a.png).

> A quotation
> over two lines.

1. one
2. two
    - nested
    - list

| left | right |
|:-----|------:|
| a    | 1     |
| b    | `2`   |

```python
def f(x):
    return x
```

Term
:   Definition

A footnote[^1], an abbreviation HTML, <b>raw</b> &amp; an entity.

***

*[HTML]: Hyper Text
[^1]: The note.
"""

EXTENSIONS = ["extra", "toc", "sane_lists", "smarty", "admonition"]
html = markdown.markdown(DOCUMENT, extensions=EXTENSIONS, output_format="html")
print(len(html), hashlib.sha256(html.encode()).hexdigest()[:16])
