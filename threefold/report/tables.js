// Tables sort by a click on a column's head, and filter: by words above the table, by value in the heads of names.
import DataTable from "{{ datatables.module }}";

const SMALL = 6; // rows: fewer are seen at a glance and need no filter

function upgrade(table) {
  const large = table.tBodies[0].rows.length >= SMALL;
  const of = (kind) => [...table.tHead.rows[0].cells].flatMap((head, i) => (head.classList.contains(kind) ? [i] : []));
  const made = new DataTable(table, {
    paging: false,
    autoWidth: false,
    order: [],
    layout: { topStart: large ? "search" : null, topEnd: null, bottomStart: null, bottomEnd: null },
    language: { search: "", searchPlaceholder: "Filter rows", zeroRecords: "No row has all of these words." },
    columnDefs: [
      { targets: of("number"), type: "num" },
      ...(large ? [{ targets: of("name"), columnControl: [["searchList"]] }] : []),
    ],
  });
  // Rules between groups of rows, and greyed repetitions, mean something in the first order only.
  made.on("draw", () => {
    const shown = made.rows({ search: "applied" }).count() < made.rows().count();
    table.classList.toggle("rearranged", shown || made.order().length > 0);
  });
}

// DataTables' own styles go by this class, not by the reader's settings.
const scheme = matchMedia("(prefers-color-scheme: dark)");
const dress = () => document.documentElement.classList.toggle("dark", scheme.matches);
scheme.addEventListener("change", dress);
dress();
document.querySelectorAll("table.sortable").forEach(upgrade);
