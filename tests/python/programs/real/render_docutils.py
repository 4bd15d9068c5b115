"""Renders a reStructuredText document with docutils."""

import hashlib

from docutils.core import publish_parts

DOCUMENT = """
=====
Title
=====

:Author: Somebody

A paragraph with *emphasis*, **strong**, ``literal``, a link_ and a footnote [#]_.

.. _link: https://example.org

- item one

  * nested item

- item two

====  =====
one   two
====  =====
a     1
b     2
====  =====

.. note:: A note with a |substitution|.

.. |substitution| replace:: replaced text

::

    literal block

Section
-------

term
    definition

.. [#] The footnote.
"""

parts = publish_parts(DOCUMENT, writer="html5", settings_overrides={"report_level": 2})
print(len(parts["body"]), hashlib.sha256(parts["body"].encode()).hexdigest()[:16])
