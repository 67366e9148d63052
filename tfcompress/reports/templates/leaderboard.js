'use strict';
// Tables of the class "sortable" sort by a click on a header, or by a key on
// it. A cell's data-key is what counts; an empty one comes last, always.
const OTHER = {ascending: 'descending', descending: 'ascending'};

function sort(table, column, header, direction) {
  const sign = direction === 'ascending' ? 1 : -1;
  const numbers = 'number' in header.dataset;
  const key = (row) => row.cells[column].dataset.key;
  const compare = (a, b) => {
    if (key(a) === '' || key(b) === '') {
      return (key(a) === '') - (key(b) === '');
    }
    const order = numbers ?
        Number(key(a)) - Number(key(b)) :
        key(a).localeCompare(key(b), 'en');
    return sign * order;
  };
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort(compare));
  for (const other of table.tHead.rows[0].cells) {
    other.removeAttribute('aria-sort');
  }
  header.setAttribute('aria-sort', direction);
}

for (const table of document.querySelectorAll('table.sortable')) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener('click', () => {
      const now = header.getAttribute('aria-sort');
      sort(table, column, header, OTHER[now] ?? header.dataset.first);
    });
  });
  table.classList.add('sorts');
}
