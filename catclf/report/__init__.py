"""The HTML page about a model, and its charts."""

from catclf.report.document import page as page
