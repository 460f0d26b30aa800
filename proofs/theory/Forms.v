(** Products of matrices, and quadratic forms: [form n P x] is <x, P x>, [sandwich m A P B] is A^T P B.

    Matrices are functions of which only the entries inside count: equalities are of those, or of what a matrix does
    to a vector. Not here: eigenvalues, inverses, factorisations; a form is positive semidefinite where [positive]
    says so. *)

From Coq Require Import Arith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors.
Open Scope R_scope.

(** A B for A with k columns. *)
Definition product (k : nat) (A B : mat) : mat := fun i j => dot k (A i) (fun l => B l j).
Definition identity : mat := fun i j => if (i =? j)%nat then 1 else 0.
Definition zero_matrix : mat := fun _ _ => 0.

(** <x, P x>. *)
Definition form (n : nat) (P : mat) (x : vec) : R := dot n x (apply n P x).
Definition symmetric (n : nat) (P : mat) : Prop := forall i j, (i < n)%nat -> (j < n)%nat -> P i j = P j i.
Definition positive (n : nat) (P : mat) : Prop := forall x, 0 <= form n P x.

Lemma apply_product n k A B x i : apply n (product k A B) x i = apply k A (apply n B x) i.
Proof.
  transitivity (dot n (apply k (transpose B) (A i)) x).
  - apply dot_ext; [|reflexivity]. intros j _. apply dot_sym.
  - apply (adjoint k n (transpose B) (A i) x).
Qed.

Lemma apply_identity n x i : (i < n)%nat -> apply n identity x i = x i.
Proof.
  intros below. unfold apply, dot, identity. rewrite (sum_only n _ i below).
  - rewrite Nat.eqb_refl. ring.
  - intros j _ other. destruct (Nat.eqb_spec i j); [congruence | ring].
Qed.

Lemma apply_zero_matrix n x i : apply n zero_matrix x i = 0.
Proof. apply sum_zero; intros j _. unfold zero_matrix. ring. Qed.

Lemma form_identity n x : form n identity x = square n x.
Proof. apply dot_ext; [reflexivity|]. intros i below. apply apply_identity, below. Qed.

Lemma form_ext n P x y : (forall i, (i < n)%nat -> x i = y i) -> form n P x = form n P y.
Proof. intros same. apply dot_ext; [exact same|]. intros i _. apply apply_ext, same. Qed.

Lemma form_zero n P x : (forall i, (i < n)%nat -> x i = 0) -> form n P x = 0.
Proof. intros zero. apply sum_zero; intros i below. rewrite zero by exact below. ring. Qed.

Lemma symmetric_identity n : symmetric n identity.
Proof. intros i j _ _. unfold identity. rewrite Nat.eqb_sym. reflexivity. Qed.

(** <P x, y> = <x, P y> for a symmetric P. *)
Lemma symmetric_dot n P x y : symmetric n P -> dot n (apply n P x) y = dot n x (apply n P y).
Proof.
  intros same. rewrite adjoint. apply dot_ext; [reflexivity|]. intros i below_i.
  apply dot_ext; [|reflexivity]. intros j below_j. apply same; assumption.
Qed.

(** <P (x + y), x + y> for a symmetric P. *)
Lemma form_plus n P x y :
  symmetric n P -> form n P (vplus x y) = form n P x + 2 * dot n y (apply n P x) + form n P y.
Proof.
  intros same. unfold form.
  rewrite (dot_ext n _ (vplus x y) _ (vplus (apply n P x) (apply n P y)));
    [|reflexivity | intros i _; apply apply_plus].
  rewrite !dot_plus_l, !dot_plus_r, <- (symmetric_dot n P x y same), (dot_sym n _ y). ring.
Qed.

Lemma form_minus n P x y :
  symmetric n P -> form n P (vminus x y) = form n P x - 2 * dot n y (apply n P x) + form n P y.
Proof.
  intros same. rewrite (form_ext n P _ (vplus x (vscal (-1) y))) by (intros; unfold vminus, vplus, vscal; ring).
  rewrite (form_plus n P _ _ same), dot_scal_l.
  replace (form n P (vscal (-1) y)) with (form n P y); [ring|]. unfold form. rewrite dot_scal_l.
  rewrite (dot_ext n y y (apply n P (vscal (-1) y)) (vscal (-1) (apply n P y)));
    [rewrite dot_scal_r; ring | reflexivity |].
  intros i _. apply apply_scal.
Qed.

(** A^T P B, P of m rows and columns: <x, A^T P B y> = <A x, P B y>. *)
Definition sandwich (m : nat) (A P B : mat) : mat := product m (transpose A) (product m P B).

Lemma dot_sandwich k n m A P B x y :
  dot k x (apply n (sandwich m A P B) y) = dot m (apply k A x) (apply m P (apply n B y)).
Proof.
  rewrite adjoint. apply dot_ext; [reflexivity|]. intros i _. unfold sandwich. rewrite apply_product.
  apply apply_ext; intros j _. apply apply_product.
Qed.

Lemma symmetric_sandwich n m A P : symmetric m P -> symmetric n (sandwich m A P A).
Proof.
  intros same i j _ _.
  change (dot m (fun l => A l i) (apply m P (fun l => A l j)) = dot m (fun l => A l j) (apply m P (fun l => A l i))).
  rewrite <- symmetric_dot by exact same. apply dot_sym.
Qed.

(** ** Equal entries, and products with the identity and with zero *)

Lemma product_ext k A B C D i j :
  (forall l, (l < k)%nat -> A i l = C i l) -> (forall l, (l < k)%nat -> B l j = D l j) ->
  product k A B i j = product k C D i j.
Proof. intros same_left same_right. apply dot_ext; assumption. Qed.

Lemma form_matrix_ext n P Q x :
  (forall i j, (i < n)%nat -> (j < n)%nat -> P i j = Q i j) -> form n P x = form n Q x.
Proof.
  intros same. apply dot_ext; [reflexivity|]. intros i below_i. apply dot_ext; [|reflexivity].
  intros j below_j. apply same; assumption.
Qed.

Lemma form_sandwich n m A P x : form n (sandwich m A P A) x = form m P (apply n A x).
Proof. apply dot_sandwich. Qed.

(** P I = P. *)
Lemma product_identity_r n P i j : (j < n)%nat -> product n P identity i j = P i j.
Proof.
  intros below. rewrite <- (apply_identity n (P i) j below) at 1. unfold product. rewrite dot_sym.
  apply dot_ext; [|reflexivity]. intros l _. unfold identity. rewrite Nat.eqb_sym. reflexivity.
Qed.

(** A^T P I = A^T P. *)
Lemma sandwich_identity_r n A P i j : (j < n)%nat -> sandwich n A P identity i j = product n (transpose A) P i j.
Proof. intros below. apply product_ext; [reflexivity|]. intros l _. apply product_identity_r, below. Qed.

(** I^T P I = P. *)
Lemma sandwich_identity n P i j : (i < n)%nat -> (j < n)%nat -> sandwich n identity P identity i j = P i j.
Proof.
  intros below_i below_j. rewrite sandwich_identity_r by exact below_j.
  rewrite <- (apply_identity n (fun l => P l j) i below_i).
  apply dot_ext; [|reflexivity]. intros l _. unfold transpose, identity. rewrite Nat.eqb_sym. reflexivity.
Qed.

(** A^T P 0 = 0. *)
Lemma sandwich_zero_r m A P i j : sandwich m A P zero_matrix i j = 0.
Proof.
  apply sum_zero; intros l _. unfold product, dot. rewrite sum_zero; [ring|]. intros k _. unfold zero_matrix. ring.
Qed.
