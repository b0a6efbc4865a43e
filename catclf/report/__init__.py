"""HTML pages about a model, and charts."""

from catclf.report.document import page as page
from catclf.report.sections import shown as shown
from catclf.report.svg import css as css
