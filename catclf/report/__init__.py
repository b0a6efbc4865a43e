"""HTML pages about a model and to try it, and charts."""

from catclf.report.document import page as page
from catclf.report.scoring_page import scoring_page as scoring_page
