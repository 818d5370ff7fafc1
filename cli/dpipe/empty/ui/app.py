"""The dashboard: which pages there are. `dpipe dash` starts it."""

import streamlit as st
from queries.project import current

project = current()
st.set_page_config(page_title=f"{project.settings.name} · dpipe", page_icon="🧾", layout="wide")
page = st.navigation(
    [
        st.Page("views/overview.py", title="Overview", icon=":material/monitor_heart:", default=True),
        st.Page("views/jobs.py", title="Jobs", icon=":material/inbox:"),
        st.Page("views/quality.py", title="Quality", icon=":material/fact_check:"),
    ]
)
st.sidebar.caption(
    f"Project `{project.settings.name}`, profile `{project.settings.profile}`. All times are UTC."
)
page.run()
