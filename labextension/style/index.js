// Element's looks: classes `jp-Element…`, all colours and sizes from `--jp-*`
import './environments.css';
import './schedule.css';
import './jobs.css';
import './runs.css';
import './resources.css';
