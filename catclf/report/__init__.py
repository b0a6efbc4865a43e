"""HTML pages about a model, and charts."""

from catclf.report.charts import css as css
from catclf.report.document import page as page
from catclf.report.document import shown as shown
from catclf.report.document import suspects_page as suspects_page
