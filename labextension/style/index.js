/* global document */
import text from './index.raw.css';

const style = document.createElement('style');
style.textContent = text;
document.head.append(style);
