"""The corpus report: what every step did to the documents, as figures and as a page to judge the filters by."""
